"""Running a trained model: recording, timing, precision, batching by depth, exports."""
