"""What every head of a model said, its replay under any rule, the dial fitted on it, and timing."""
