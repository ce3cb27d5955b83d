"""Work items, handoffs, assessments, escalations, activations."""
