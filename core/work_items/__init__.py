"""Work items: what is to be done in a workflow, by as many tasks as it takes."""
