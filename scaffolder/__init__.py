"""Fine-tuning projects for small language models: generated, run, verified and kept up to date."""
