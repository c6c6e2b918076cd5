"""Run a trained model: record, time and answer, in torch or from exports."""
