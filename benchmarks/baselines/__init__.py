"""The servers we are measured against; they know the checkpoint's files and nothing of `service.model`."""
