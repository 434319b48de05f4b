"""Who answers: models by their names (base, adapters, merges, routes, whole models), side by side in one batch where they can be."""
