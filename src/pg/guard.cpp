#include "pg/guard.h"

namespace orchestra::pg {
namespace guard {
namespace {

// strlcpy that never cuts a UTF-8 character in two.
template <std::size_t kSize>
void Put(char (&to)[kSize], const char* from) noexcept {
  std::size_t length = std::strlen(from);
  if (length >= kSize) {
    length = kSize - 1;
    while (length > 0 && (static_cast<unsigned char>(from[length]) & 0xC0) == 0x80) --length;
  }
  std::memcpy(to, from, length);
  to[length] = '\0';
}

void Put(Report* report, int sqlstate, const char* message, const char* detail = "",
         const char* hint = "") noexcept {
  report->sqlstate = sqlstate;
  Put(report->message, message);
  Put(report->detail, detail);
  Put(report->hint, hint);
}

// CopyErrorData, which needs memory itself. nullptr: there was none.
ErrorData* TakeErrorData() {
  ErrorData* volatile data = nullptr;
  PG_TRY();
  { data = CopyErrorData(); }
  PG_CATCH();
  { data = nullptr; }
  PG_END_TRY();
  FlushErrorState();
  return data;
}

}  // namespace

void Backend::Restore() const noexcept {
  PG_exception_stack = exception_stack;
  error_context_stack = error_context;
  MemoryContextSwitchTo(memory);
}

void ThrowCurrentError(const Backend& backend) {
  backend.Restore();
  // ERROR lets go of interrupts that callers further out still hold.
  InterruptHoldoffCount = backend.interrupt_holdoff;
  QueryCancelHoldoffCount = backend.cancel_holdoff;
  ErrorData* data = TakeErrorData();
  if (data == nullptr) throw Fail(ERRCODE_OUT_OF_MEMORY, "out of memory");
  const auto text = [](const char* s) { return std::string(s == nullptr ? "" : s); };
  Fail fail(data->sqlerrcode, text(data->message), text(data->detail), text(data->hint));
  FreeErrorData(data);
  throw fail;
}

void Describe(Report* report) noexcept {
  try {
    throw;
  } catch (const Fail& e) {
    Put(report, e.sqlstate(), e.what(), e.detail().c_str(), e.hint().c_str());
  } catch (const std::bad_alloc&) {
    Put(report, ERRCODE_OUT_OF_MEMORY, "out of memory");
  } catch (const std::exception& e) {
    Put(report, ERRCODE_INTERNAL_ERROR, e.what());
  } catch (...) {
    Put(report, ERRCODE_INTERNAL_ERROR, "exception of unknown type");
  }
}

void Raise(const Report& report) {
  ereport(ERROR, (errcode(report.sqlstate), errmsg("%s", report.message),
                  report.detail[0] != '\0' ? errdetail("%s", report.detail) : 0,
                  report.hint[0] != '\0' ? errhint("%s", report.hint) : 0));
  pg_unreachable();
}

void EndWorker(const char* worker, const Report& report) {
  ereport(LOG, (errcode(report.sqlstate),
                errmsg("orchestra: worker \"%s\" ends after an error and is started again: %s",
                       worker, report.message),
                report.detail[0] != '\0' ? errdetail("%s", report.detail) : 0,
                report.hint[0] != '\0' ? errhint("%s", report.hint) : 0));
  proc_exit(1);
}

}  // namespace guard

void LogLine(int level, const std::string& line) noexcept {
  try {
    const char* text = line.c_str();
    Call([&] { ereport(level, (errmsg_internal("%s", text))); });
  } catch (...) {
    // Nobody is left to be told.
  }
}

}  // namespace orchestra::pg
