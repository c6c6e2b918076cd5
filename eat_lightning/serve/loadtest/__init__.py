"""Traffic for the gateway, to measure it with: open loop, latency from the scheduled time."""
