"""Speed, measured side by side: medians of alternating repetitions. No part of the tests."""
