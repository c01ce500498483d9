"""A name comes in, a device and what it can do go out; no other room calls an accelerator by name."""
