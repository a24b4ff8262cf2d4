"""Tables and statistics: pure functions of records, no files."""
