-- What wrk asks: a POST of one question after the other. Started by serve.py:
--   wrk … -s ask.lua URL -- QUESTIONS SEED POOL BEFORE AFTER
-- QUESTIONS has a question a line, as JSON writes it without its quotes; a body is BEFORE, question, number, AFTER.
-- The number makes it a question that is not stored, and was never asked: or, with a POOL, one of so many.
local questions, pool, before, after, asked = {}, 0, "", "", 0

function init(arguments)
  for line in io.lines(arguments[1]) do questions[#questions + 1] = line end
  math.randomseed(tonumber(arguments[2]))
  asked = tonumber(arguments[2]) * 10000000
  pool, before, after = tonumber(arguments[3]), arguments[4], arguments[5]
  wrk.method = "POST"
  wrk.headers["Content-Type"] = "application/json"
end

function request()
  local number
  if pool > 0 then number = math.random(pool) else asked = asked + 1; number = asked end
  local question = pool > 0 and questions[number % #questions + 1] or questions[math.random(#questions)]
  return wrk.format(nil, nil, nil, before .. question .. " " .. string.format("%d", number) .. after)
end

function done(summary, latency)
  local errors = summary.errors
  io.write(string.format('{"requests": %d, "seconds": %f, "refused": %d, "broken": %d, "p50_ms": %f, "p99_ms": %f}\n',
    summary.requests, summary.duration / 1e6, errors.status, errors.connect + errors.read + errors.write + errors.timeout,
    latency:percentile(50) / 1000, latency:percentile(99) / 1000))
end
