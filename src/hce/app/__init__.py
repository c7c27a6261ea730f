"""应用层. What a person touches: the composition roots, the CLI, the demo network."""
