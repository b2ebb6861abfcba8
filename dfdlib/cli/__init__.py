"""The command `dfd`: the front door of a shell."""
