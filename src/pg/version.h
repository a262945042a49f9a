// The version of orchestra; orchestra.control and the install script carry the same.
#pragma once

namespace orchestra::pg {

inline constexpr const char* kVersion = "0.1";

}  // namespace orchestra::pg
