#include "pg/sessions.h"

#include "pg/faults.h"
#include "pg/gate.h"
#include "pg/settings.h"
#include "pg/shared.h"

namespace orchestra::pg {
namespace {

ClientAuthentication_hook_type next_client_authentication = nullptr;

// A session over the network is turned away like one that comes while the server starts: a client
// with several hosts goes on to the next one. Otherwise it would stay, read-only, for ever.
// Standbys and the coordinator's role come in, and whoever sits at the machine (the socket).
void OnClientAuthentication(Port* port, int status) {
  if (next_client_authentication != nullptr) next_client_authentication(port, status);
  if (status != STATUS_OK || port->raddr.addr.ss_family == AF_UNIX) return;
  if (am_walsender) {
    if (shared != nullptr && pg_atomic_read_u32(&shared->gate.mute) != 0)
      ereport(FATAL, (errcode(ERRCODE_CANNOT_CONNECT_NOW),
                      errmsg("this node takes no part in its cluster: nobody may stream from it"),
                      errhint("SELECT * FROM orchestra_status() on it says why.")));
    return;
  }
  if (std::strcmp(port->user_name, kCoordinatorRole) == 0) return;
  if (RecoveryInProgress() || faults::NoGate() || GateIsOpen()) return;
  RefuseWhileClosed(FATAL, ERRCODE_CANNOT_CONNECT_NOW);
}

}  // namespace

void InstallSessions() {
  next_client_authentication = ClientAuthentication_hook;
  ClientAuthentication_hook = OnClientAuthentication;
}

int HintAtPrimary() {
  return errhint("Connect to the primary of the cluster; orchestra_status() names it.");
}

}  // namespace orchestra::pg
