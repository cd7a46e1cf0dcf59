"""`gcra` as scripts that Valkey runs, each at once and on its own clock. They decide nothing that `gcra` does not.

Keys are made here, all under one hash tag, so that the keys of a decision live on one node:
`meter:NAME` is "level held at rate"; `slots:NAME` is a sorted set of holders by expiry; `batch:ID` is what a batch
holds by meter, and `batches` the batches by the time when they count as sent, because whoever asked has died.
"""

from typing import Final

PREFIX: Final = "{tabane.throttle}:"

_COMMON: Final = """
local prefix = KEYS[1]
local clock = redis.call('TIME')
local now = clock[1] * 1000000 + clock[2]
local function read(name, rate)
  local text = redis.call('GET', prefix .. 'meter:' .. name)
  if not text then return rate and {level = 0, held = 0, rate = rate} end
  local level, held, at, old = string.match(text, '(%S+) (%S+) (%S+) (%S+)')
  local passed = math.max(0, now - tonumber(at)) / 1000000
  return {level = math.max(0, tonumber(level) - passed * tonumber(old)), held = tonumber(held),
          rate = rate or tonumber(old)}
end
local function write(name, meter, hold_us)
  local key = prefix .. 'meter:' .. name
  if meter.level + meter.held < 0.000001 then redis.call('DEL', key) return end
  local text = string.format('%.6f %.6f %.0f %.17g', meter.level, meter.held, now, meter.rate)
  local lasts = (meter.level + meter.held) / meter.rate * 1000 + 1000
  if meter.held > 0 then lasts = lasts + hold_us / 1000 end
  redis.call('SET', key, text, 'PX', string.format('%.0f', math.min(lasts, 1e12)))
end
local function answer(name, sent, unsent, hold_us)
  local meter = read(name, nil)
  if not meter then return end
  meter.held = math.max(0, meter.held - sent - unsent)
  meter.level = meter.level + sent
  write(name, meter, hold_us)
end
local function forget(id)
  redis.call('DEL', prefix .. 'batch:' .. id)
  redis.call('ZREM', prefix .. 'batches', id)
end
local function reclaim(hold_us)
  for _, id in ipairs(redis.call('ZRANGEBYSCORE', prefix .. 'batches', '-inf', now, 'LIMIT', 0, 3)) do
    local held = redis.call('HGETALL', prefix .. 'batch:' .. id)
    for i = 1, #held, 2 do answer(held[i], tonumber(held[i + 1]), 0, hold_us) end
    forget(id)
  end
end
local function end_turn(turn)
  if turn ~= '' and redis.call('GET', prefix .. 'turn') == turn then redis.call('DEL', prefix .. 'turn') end
end
local function wait(meter, bucket, cost)
  return math.max(0, meter.level + meter.held - math.max(0, bucket[3] - cost)) / bucket[2]
end
"""

ASK: Final = (
    _COMMON
    + """
-- ARGV: the batch's id, how long it may hold, JSON, the turn that ends with it or ''.
-- JSON: buckets [name, rate, burst], slots [name, places, hold], asks [chains of [bucket, cost, bucket, cost ...],
-- slots or 0, holder]. Answers of each ask: the chain that pays or 0, microseconds to wait, the bucket to wait for.
local hold = tonumber(ARGV[2])
end_turn(ARGV[4])
local buckets, slots, asks = unpack(cjson.decode(ARGV[3]))
reclaim(hold)
local meters, closed, taken, free = {}, {}, {}, {}
for i, bucket in ipairs(buckets) do meters[i] = read(bucket[1], bucket[2]) end
for i, slot in ipairs(slots) do
  redis.call('ZREMRANGEBYSCORE', prefix .. 'slots:' .. slot[1], '-inf', now)
  free[i] = slot[2] - redis.call('ZCARD', prefix .. 'slots:' .. slot[1])
end
local chosen, waits, causes = {}, {}, {}
for i, ask in ipairs(asks) do
  local slot, number, shortest, cause = slots[ask[2]], 0, math.huge, 0
  local has = slot and redis.call('ZSCORE', prefix .. 'slots:' .. slot[1], ask[3])
  if slot and not has and free[ask[2]] <= 0 then
    shortest = 1
  else
    for n, chain in ipairs(ask[1]) do
      local longest, slowest = 0, 0
      for j = 1, #chain, 2 do
        local index, cost = chain[j], chain[j + 1]
        local meter, bucket = meters[index], buckets[index]
        local used = meter.level + meter.held
        if closed[index] or (used + cost > bucket[3] + 0.000001 and used > 0.000001) then
          local long = math.max(wait(meter, bucket, cost), 0.001)
          if long > longest then longest, slowest = long, index end
          closed[index] = true
        end
      end
      if longest == 0 then number, shortest, cause = n, 0, 0 break end
      if longest < shortest then shortest, cause = longest, slowest end
    end
  end
  if number > 0 then
    local chain = ask[1][number]
    for j = 1, #chain, 2 do
      meters[chain[j]].held = meters[chain[j]].held + chain[j + 1]
      taken[chain[j]] = (taken[chain[j]] or 0) + chain[j + 1]
    end
    if slot then
      if not has then free[ask[2]] = free[ask[2]] - 1 end
      redis.call('ZADD', prefix .. 'slots:' .. slot[1], now + slot[3], ask[3])
      redis.call('PEXPIRE', prefix .. 'slots:' .. slot[1], math.ceil(slot[3] / 1000) + 1000)
      redis.call('SADD', prefix .. 'schools', slot[1])
    end
  end
  chosen[i], waits[i], causes[i] = number, math.ceil(math.min(shortest, 1e6) * 1000000), cause
end
local fields = {}
for index, amount in pairs(taken) do
  write(buckets[index][1], meters[index], hold)
  fields[#fields + 1] = buckets[index][1]
  fields[#fields + 1] = string.format('%.6f', amount)
end
if #fields > 0 then
  redis.call('HSET', prefix .. 'batch:' .. ARGV[1], unpack(fields))
  redis.call('PEXPIRE', prefix .. 'batch:' .. ARGV[1], math.ceil(hold / 1000) + 60000)
  redis.call('ZADD', prefix .. 'batches', now + hold, ARGV[1])
  redis.call('PEXPIRE', prefix .. 'batches', math.ceil(hold / 1000) + 60000)
end
return {chosen, waits, causes}
"""
)

ANSWERED: Final = (
    _COMMON
    + """
-- ARGV: the batch's id, how long a batch may hold, JSON, a turn that ends or ''.
-- JSON: meters [name, sent, unsent], places to give back [slots, holder].
-- Nothing is done for a batch that is not there any more: it has been counted as sent.
local meters, places = unpack(cjson.decode(ARGV[3]))
end_turn(ARGV[4])
for _, place in ipairs(places) do redis.call('ZREM', prefix .. 'slots:' .. place[1], place[2]) end
if #meters == 0 or redis.call('EXISTS', prefix .. 'batch:' .. ARGV[1]) == 0 then return 0 end
for _, each in ipairs(meters) do answer(each[1], each[2], each[3], tonumber(ARGV[2])) end
forget(ARGV[1])
return 1
"""
)

LOOK: Final = (
    _COMMON
    + """
-- ARGV: a turn, how long a batch may hold, JSON, how long a turn lasts in ms. JSON: buckets [name, rate, burst], slots
-- [name, places]. Answers nothing when somebody else is between a look and a batch: both would go for the same room.
-- Else units of room and microseconds until there is one more, of each bucket, and free places of each slots.
if not redis.call('SET', prefix .. 'turn', ARGV[1], 'NX', 'PX', ARGV[4]) then return {} end
local buckets, slots = unpack(cjson.decode(ARGV[3]))
reclaim(tonumber(ARGV[2]))
local rooms, waits, free = {}, {}, {}
for i, bucket in ipairs(buckets) do
  local meter = read(bucket[1], bucket[2])
  local used = meter.level + meter.held
  rooms[i] = string.format('%.6f', math.max(0, bucket[3] - used))
  waits[i] = math.ceil(math.min(wait(meter, bucket, 1), 1e6) * 1000000)
end
for i, slot in ipairs(slots) do free[i] = slot[2] - redis.call('ZCOUNT', prefix .. 'slots:' .. slot[1], now, '+inf') end
return {rooms, waits, free}
"""
)

HOLDERS: Final = """
-- Who holds a place, by slots; slots that nobody holds any more are forgotten.
local found = {}
for _, name in ipairs(redis.call('SMEMBERS', KEYS[1] .. 'schools')) do
  local holders = redis.call('ZRANGE', KEYS[1] .. 'slots:' .. name, 0, -1)
  if #holders == 0 then redis.call('SREM', KEYS[1] .. 'schools', name)
  else found[#found + 1] = {name, holders} end
end
return found
"""
