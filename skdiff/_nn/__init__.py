"""Engine for networks: skorch inside, tensors in memory."""
