"""The documentation: code blocks that are run, reference pages that are generated."""
