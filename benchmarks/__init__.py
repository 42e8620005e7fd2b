"""Commands that measure the server beside what people would use instead; nothing here ships or is imported by it."""
