"""The trajectory store as a command: pack, unpack, verify, show, push and pull."""
