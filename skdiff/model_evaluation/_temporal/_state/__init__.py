"""What a selector of models over time learns and keeps."""
