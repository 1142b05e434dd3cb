"""The harness of the end-to-end tests. README.md beside this folder says how to use it."""
