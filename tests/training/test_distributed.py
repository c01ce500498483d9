"""Ranks: what one process does without any."""

import torch

from alm.training import distributed


def test_one_process_is_the_first_of_one_and_waits_for_nobody(monkeypatch):
    monkeypatch.delenv("TORCHELASTIC_RUN_ID", raising=False)
    with distributed.ranks(minutes=1), distributed.first_on_machine():
        assert not distributed.is_started()
        assert (distributed.rank(), distributed.world(), distributed.is_main()) == (0, 1, True)
        assert (distributed.local_rank(), distributed.local_world(), distributed.has_restarted()) == (
            0,
            1,
            False,
        )
        values = torch.ones(2)
        assert distributed.total(values) is values
        assert distributed.gather("a") == ["a"]
        assert distributed.broadcast("a") == "a"
        distributed.barrier()
