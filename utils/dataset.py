"""The public place of MultiLabelDataset."""

from utils.data.dataset import MultiLabelDataset

__all__ = ["MultiLabelDataset"]
