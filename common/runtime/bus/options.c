/* Options of a ZeroMQ socket, one at a time. */
#include "common/runtime/bus/bus_internal.h"

bool bus_set_int(void *handle, int option, int value)
{
    return zmq_setsockopt(handle, option, &value, sizeof value) == 0;
}

bool bus_set_text(void *handle, int option, const char *text)
{
    return zmq_setsockopt(handle, option, text, strlen(text)) == 0;
}

int bus_fd_of(void *handle)
{
    int fd = -1;
    size_t size = sizeof fd;
    return zmq_getsockopt(handle, ZMQ_FD, &fd, &size) == 0 ? fd : -1;
}
