"""What goes to the test servers: whose trained chain, written how, and checked as they would."""
