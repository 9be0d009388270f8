"""The console: pages for operators, imported when the first of them is asked for."""
