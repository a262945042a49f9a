// Preflight: orchestra_check(), and what each node tells for it, orchestra_facts().
#pragma once
#include <string>
#include <vector>

namespace orchestra::pg {

// 55000 with the rows of orchestra_check(nodes) that are errors, when there are any.
void RefuseOnErrors(const std::vector<std::string>& nodes);

}  // namespace orchestra::pg
