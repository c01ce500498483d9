"""An evaluation comes in; one HTML page of its figures, mistakes and regions goes out."""
