"""The log of decisions: its records, how they are masked and chained, and how they are verified."""
