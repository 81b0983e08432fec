import gc

import pytest

from scaffolder.worker.loading import loading


def test_the_collector_rests_while_libraries_load_and_works_again_after_an_error():
    def load():
        with loading():
            assert not gc.isenabled()
            raise ImportError

    with pytest.raises(ImportError):
        load()
    assert gc.isenabled()


def test_within_another_it_goes_on_resting():
    with loading():
        with loading():
            pass
        assert not gc.isenabled()
    assert gc.isenabled()
