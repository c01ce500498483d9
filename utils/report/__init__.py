"""What is shown of predictions and evaluations to people: pictures and pages."""
