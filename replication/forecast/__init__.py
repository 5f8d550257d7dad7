"""What a plan will cost before it is run: time, memory, disk, and the makespan on a queue."""
