// The gate of commits and acknowledgements, as transaction callbacks. In durability quorum it also
// makes every transaction wait for what the cluster counts on (orchestra.enforce_durability).
#pragma once

namespace orchestra::pg {

// From InstallGate.
void InstallCommitGate();

// COMMIT PREPARED and ROLLBACK PREPARED write outside of the transaction that runs them. Call it
// right before; refuses like a commit.
void BeforeEndingPrepared();

// The gate as commits see it: a test build can hold it open.
bool GateIsClosed();

}  // namespace orchestra::pg
