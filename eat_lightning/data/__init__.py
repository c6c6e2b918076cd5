"""From text to batches: tasks, GLUE, a toy grammar, tokenizers and the calibration split."""
