"""What callers send, made safe: pictures and conversations."""
