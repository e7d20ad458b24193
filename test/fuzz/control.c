/* Any packet from the gateway: the first byte is the number of descriptors, the rest the packet. */
#include <stdlib.h>

#include "intercept/policy.h"
#include "names/list.h"
#include "sandboxd/control.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
  union fl_request request;

  if (size == 0 || fl_control_decode(data + 1, size - 1, data[0], &request, NULL) < 0)
    return 0;
  if (request.header.size != size - 1 || request.header.request == 0)
    abort();
  if (request.header.type == FL_MSG_NAMES && fl_names_check(&request.names.names, NULL) < 0)
    abort();
  if (request.header.type == FL_MSG_CREATE_INTERCEPTED && (data[0] != FL_CREATE_DESCRIPTORS || fl_intercept_check(&request.intercepted.intercept, NULL) < 0))
    abort();
  if ((request.header.type == FL_MSG_CREATE || request.header.type == FL_MSG_CREATE_INTERCEPTED) && (data[0] != FL_CREATE_DESCRIPTORS || fl_limits_check(&request.create.limits, NULL) < 0 ||
                                                      fl_egress_check(request.create.network, &request.create.egress, NULL) < 0))
    abort();
  if (request.header.type == FL_MSG_CREATE_INTERCEPTED && (request.create.flags & FL_CREATE_ACROSS))
    abort();
  if (request.header.type == FL_MSG_CREATE && (request.create.flags & FL_CREATE_ACROSS) &&
      ((request.create.flags & (FL_CREATE_CANDIDATE | FL_CREATE_REWOUND)) || request.create.function || request.create.network != FL_NETWORK_NONE))
    abort();
  return 0;
}
