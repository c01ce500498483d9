"""The paper and nothing else: pictures come in, logits and regions go out."""
