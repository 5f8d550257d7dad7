"""What the run linter asks of a training and of an evaluation: one module a subject.

Each rule is a function of plain values that returns a `Deviation` for every fault it sees. Rules
say what must hold in the paper's words and in closed forms of their own; they do not ask the code
that did the work.
"""
