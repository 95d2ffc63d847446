"""The trajectory store as a command: pack, unpack, verify, show and pull."""
