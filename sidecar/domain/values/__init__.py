"""Values that have no rules of policies in them: addresses, levels, places, stamps."""
