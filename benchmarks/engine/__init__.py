"""The goals of the engine, each measured in one run beside what it is compared with."""
