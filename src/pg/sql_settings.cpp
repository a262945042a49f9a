// The cluster's settings: they live in the register alone, and any node may ask for another value.
#include "pg/sql_settings.h"

#include "core/choices.h"
#include "core/node_rows.h"
#include "pg/guard.h"
#include "pg/saved_settings.h"
#include "pg/sql_common.h"

namespace orchestra::pg {
namespace {

constexpr int kNotNow = ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE;
// Shorter than what the register takes is for tests of the protocol.
constexpr std::int64_t kShortestLeaseMs = 300;
constexpr std::int64_t kLongestLeaseMs = 60'000;
constexpr std::int64_t kMostDrift = 250;
constexpr std::int64_t kMostCopies = kMaxMembers - 1;
constexpr double kMostLag = 9007199254740992.0;  // what a double tells to the byte
constexpr char kNotKnown[] = "the change is committed and not known here yet";

Fail Wrong(const std::string& what, const std::string& hint) {
  return Fail(ERRCODE_INVALID_PARAMETER_VALUE, what, "", hint);
}

std::string Quoted(const std::string& text) { return "\"" + text + "\""; }

// ---------------------------------------------------------------- values

// Digits and nothing else.
std::int64_t NumberOf(const std::string& name, const std::string& text) {
  std::int64_t number = 0;
  bool digits = !text.empty() && text.size() <= 9 && (text == "0" || text[0] != '0');
  for (const char c : text) {
    digits = digits && c >= '0' && c <= '9';
    if (digits) number = number * 10 + (c - '0');
  }
  if (digits) return number;
  throw Wrong(name + " " + Quoted(text) + " is not a number",
              "Write it in digits, without a unit.");
}

// Each returns the value as `get` will show it.
std::string SetLease(const std::string& text, ChangeSettings* change) {
  change->lease_ttl_ms = LeaseArgument(NumberOf("lease_ttl_ms", text));
  return text;
}

std::string SetDrift(const std::string& text, ChangeSettings* change) {
  const std::int64_t drift = NumberOf("drift_permille", text);
  if (drift > kMostDrift)
    throw Wrong("drift_permille " + text + " is out of range",
                "It is the clock drift that leases allow for: 0 to 250 thousandths.");
  change->drift_permille = static_cast<std::uint32_t>(drift);
  return text;
}

std::string SetOnNoSync(const std::string& text, ChangeSettings* change) {
  change->on_no_sync = ChoiceOf<OnNoSync>(text);
  if (!change->on_no_sync)
    throw Wrong("on_no_sync " + Quoted(text) + " is unknown", "Use \"refuse\" or \"degrade\".");
  return text;
}

std::uint32_t CopiesOf(const std::string& name, const std::string& text) {
  const std::int64_t copies = NumberOf(name, text);
  if (copies >= 1 && copies <= kMostCopies) return static_cast<std::uint32_t>(copies);
  throw Wrong(name + " " + text + " is out of range",
              "It is a number of standbys: 1 to " + std::to_string(kMostCopies) + ".");
}

std::string SetCopies(const std::string& text, ChangeSettings* change) {
  change->sync_copies = CopiesOf("sync_copies", text);
  return text;
}

std::string SetMinCopies(const std::string& text, ChangeSettings* change) {
  change->min_sync_copies = CopiesOf("min_sync_copies", text);
  return text;
}

std::string SetSyncZone(const std::string& text, ChangeSettings* change) {
  change->sync_zone = ChoiceOf<SyncZone>(text);
  if (!change->sync_zone)
    throw Wrong("sync_zone " + Quoted(text) + " is unknown", "Use \"any\" or \"other\".");
  return text;
}

// As a setting of PostgreSQL that is a size: "16MB", or bytes.
std::string SetFailoverLag(const std::string& text, ChangeSettings* change) {
  double bytes = 0;
  const char* hint = nullptr;
  const bool valid = Call([&] { return parse_real(text.c_str(), &bytes, GUC_UNIT_BYTE, &hint); });
  if (!valid)
    throw Wrong("max_failover_lag_bytes " + Quoted(text) + " is no size",
                hint != nullptr ? hint : "Write it in bytes, or with a unit: 16MB.");
  if (bytes < 0 || bytes > kMostLag)
    throw Wrong("max_failover_lag_bytes " + text + " is out of range",
                "It is 0 to 8192TB: what a failover in durability async may lose.");
  change->max_failover_lag_bytes = static_cast<std::uint64_t>(bytes);
  return std::to_string(*change->max_failover_lag_bytes);
}

std::string SetAutoVoters(const std::string& text, ChangeSettings* change) {
  if (text != "on" && text != "off")
    throw Wrong("auto_voters " + Quoted(text) + " is unknown", "Use \"on\" or \"off\".");
  change->auto_voters = text == "on";
  return text;
}

std::string SetDurability(const std::string& text, ChangeSettings* change) {
  change->durability = DurabilityArgument(text);
  return text;
}

struct Setting {
  const char* name;
  std::string (*set)(const std::string& text, ChangeSettings* change);
  std::string (*get)(const RegisterValue& value);
};

constexpr Setting kSettings[] = {
    {"lease_ttl_ms", SetLease,
     [](const RegisterValue& value) { return std::to_string(value.lease_ttl_ms); }},
    {"drift_permille", SetDrift,
     [](const RegisterValue& value) { return std::to_string(value.drift_permille); }},
    {"on_no_sync", SetOnNoSync,
     [](const RegisterValue& value) { return std::string(NameOf(value.on_no_sync)); }},
    {"sync_copies", SetCopies,
     [](const RegisterValue& value) { return std::to_string(value.sync_copies); }},
    {"min_sync_copies", SetMinCopies,
     [](const RegisterValue& value) { return std::to_string(value.min_sync_copies); }},
    {"sync_zone", SetSyncZone,
     [](const RegisterValue& value) { return std::string(NameOf(value.sync_zone)); }},
    {"max_failover_lag_bytes", SetFailoverLag,
     [](const RegisterValue& value) { return std::to_string(value.max_failover_lag_bytes); }},
    {"auto_voters", SetAutoVoters,
     [](const RegisterValue& value) { return std::string(value.auto_voters ? "on" : "off"); }},
    {"durability", SetDurability,
     [](const RegisterValue& value) { return std::string(NameOf(value.durability)); }},
};

const Setting& FindSetting(const std::string& name) {
  std::string known;
  for (const Setting& setting : kSettings) {
    if (name == setting.name) return setting;
    known += (known.empty() ? "" : ", ") + std::string(setting.name);
  }
  throw Wrong("there is no setting " + Quoted(name) + " of the cluster",
              "Use one of " + known + "; orchestra_set_mode() changes the mode.");
}

std::string Set(FunctionCallInfo call) {
  const std::string name = TextArgument(call, 0);
  const std::string text = TextArgument(call, 1);
  const Micros deadline = RawNow() + WaitArgument(call, 2);
  const Setting& setting = FindSetting(name);
  ChangeSettings change;
  const std::string wanted = setting.set(text, &change);
  const std::string before = setting.get(*ConfiguredBoard().value);
  Perform({deadline, ChangeRequest{change}}, name + " stays as it is: ");
  WaitForRegister(
      deadline, [&](const Board& now) { return setting.get(*now.value) == wanted; }, kNotKnown);
  return name + " is " + wanted + ", it was " + before;
}

// ---------------------------------------------------------------- mode and pause

// Who commits or may do so is what the register says, as far as it is heard.
void CheckPrimaries(const Board& board, Micros now) {
  const RegisterValue& value = *board.value;
  bool primary = false;
  for (const BoardNode& node : board.nodes) {
    const bool out = node.status && node.status->db == DbState::kPrimary;
    if (!out || node.member.id == kNoNode || !IsFresh(board, node, now)) continue;
    if (node.member.id != value.primary)
      throw Fail(kNotNow,
                 node.member.name + " is out of recovery, but the register names " +
                     NameOf(value, value.primary) + " as primary",
                 "Two servers could be written to.",
                 "Stop " + node.member.name + ", or make it a standby of the primary, first.");
    primary = true;
  }
  if (!primary)
    throw Fail(kNotNow, NameOf(value, value.primary) + " is not known to be out of recovery",
               "The register names it as primary.",
               "Start it; SELECT * FROM orchestra_status() tells how it is.");
}

std::string SetMode(FunctionCallInfo call) {
  const Mode mode = ModeArgument(TextArgument(call, 0));
  const Micros deadline = RawNow() + WaitArgument(call, 1);
  const Mode before = ConfiguredBoard().value->mode;
  ChangeMode(mode, deadline);
  return std::string("mode is ") + NameOf(mode) + ", it was " + NameOf(before);
}

std::string SetPaused(FunctionCallInfo call, bool paused) {
  const Micros deadline = RawNow() + WaitArgument(call, 0);
  ConfiguredBoard();
  ChangeSettings change;
  change.paused = paused;
  Perform({deadline, ChangeRequest{change}}, paused ? "not paused: " : "still paused: ");
  WaitForRegister(
      deadline, [paused](const Board& now) { return now.value->paused == paused; }, kNotKnown);
  return paused ? "paused: no failover but by call, until orchestra_resume()" : "not paused";
}

// Of a connection string only whether there is one: it may hold a password.
Cell Former(const std::string& name) {
  const std::optional<std::string> value = FormerValue(name);
  return value && !value->empty() && name == "primary_conninfo" ? "(set)" : value;
}

}  // namespace

Mode ModeArgument(const std::string& text) {
  if (const auto mode = ChoiceOf<Mode>(text)) return *mode;
  throw Wrong("mode " + Quoted(text) + " is unknown",
              "Use \"observe\", \"manual\" or \"automatic\".");
}

Durability DurabilityArgument(const std::string& text) {
  if (const auto durability = ChoiceOf<Durability>(text)) return *durability;
  throw Wrong("durability " + Quoted(text) + " is unknown", "Use \"quorum\" or \"async\".");
}

std::uint32_t LeaseArgument(std::int64_t milliseconds) {
  if (milliseconds >= kShortestLeaseMs && milliseconds <= kLongestLeaseMs)
    return static_cast<std::uint32_t>(milliseconds);
  throw Wrong("lease_ttl_ms " + std::to_string(milliseconds) + " is out of range",
              "A lease lasts 300 ms to 60 s: 300 to 60000.");
}

void ChangeMode(Mode mode, Micros deadline) {
  const Board board = ConfiguredBoard();
  const bool enforced = Enforces(*board.value);
  const bool enforces = mode != Mode::kObserve;
  if (enforces && !enforced) CheckPrimaries(board, RawNow());
  ChangeSettings change;
  change.mode = mode;
  Perform({deadline, ChangeRequest{change}}, "the mode stays as it is: ");
  WaitForRegister(
      deadline,
      [&](const Board& now) {
        const bool commits = now.gate_open || now.self != now.value->primary || !now.value->active;
        return now.value->mode == mode && (commits || enforced || !enforces);
      },
      kNotKnown);
}

}  // namespace orchestra::pg

using namespace orchestra::pg;

extern "C" {

PG_FUNCTION_INFO_V1(orchestra_set);
Datum orchestra_set(PG_FUNCTION_ARGS) {
  return Boundary([fcinfo] { return ReturnText(Set(fcinfo)); });
}

PG_FUNCTION_INFO_V1(orchestra_set_mode);
Datum orchestra_set_mode(PG_FUNCTION_ARGS) {
  return Boundary([fcinfo] { return ReturnText(SetMode(fcinfo)); });
}

PG_FUNCTION_INFO_V1(orchestra_pause);
Datum orchestra_pause(PG_FUNCTION_ARGS) {
  return Boundary([fcinfo] { return ReturnText(SetPaused(fcinfo, true)); });
}

PG_FUNCTION_INFO_V1(orchestra_resume);
Datum orchestra_resume(PG_FUNCTION_ARGS) {
  return Boundary([fcinfo] { return ReturnText(SetPaused(fcinfo, false)); });
}

PG_FUNCTION_INFO_V1(orchestra_former_value);
Datum orchestra_former_value(PG_FUNCTION_ARGS) {
  bool known = false;
  const Datum result = Boundary([fcinfo, &known] {
    const Cell former = Former(TextArgument(fcinfo, 0));
    known = former.has_value();
    return known ? ReturnText(*former) : static_cast<Datum>(0);
  });
  if (!known) PG_RETURN_NULL();
  return result;
}

}  // extern "C"
