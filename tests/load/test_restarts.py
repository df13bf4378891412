"""T38: an edge is restarted under load, 20 times, and no client notices."""
from lib.up import TlsUp, restart_by_hand, restart_by_up

RESTARTS = 20


def test_edges_of_up_are_restarted_unseen(tmp_path):
    restart_by_up(tmp_path, RESTARTS)


def test_edges_of_up_are_restarted_unseen_under_tls(tmp_path):
    restart_by_up(tmp_path, RESTARTS, TlsUp)


def test_edges_behind_a_socket_of_systemd_are_restarted_unseen(tmp_path):
    restart_by_hand(tmp_path, RESTARTS)
