"""Lightning callbacks: schedule, temperatures, progress, checkpoints and the finished run."""
