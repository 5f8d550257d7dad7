"""The paper's figures, one command each."""
