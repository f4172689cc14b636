# Sidekiq: a pool of one server, since its keys have no prefix and MULTI and BRPOP take several of them.
require "sidekiq"
require "sidekiq/api"
require "sidekiq/launcher"

redis = { url: "redis://127.0.0.1:#{ARGV[0]}/0" }
Sidekiq.configure_client { |config| config.redis = redis }
Sidekiq.logger.level = Logger::FATAL
QUEUES = %w[default mails bills reports]
DONE = Queue.new

class Job
  include Sidekiq::Worker
  def perform(name) = DONE.push(name)
end

def check(what, right) = right || abort(what)

QUEUES.each { |queue| Job.set(queue: queue).perform_async(queue) }
Job.perform_in(3600, "later")
check "enqueued", Sidekiq::Stats.new.enqueued == QUEUES.size
check "scheduled", Sidekiq::ScheduledSet.new.size == 1
launcher = Sidekiq::Launcher.new(Sidekiq.options.merge(queues: QUEUES, concurrency: 2, timeout: 5))
launcher.run
check "done", Timeout.timeout(20) { QUEUES.map { DONE.pop }.sort } == QUEUES.sort
launcher.stop
Sidekiq::ScheduledSet.new.clear
QUEUES.each { |queue| Sidekiq::Queue.new(queue).clear }
check "cleared", Sidekiq::Stats.new.scheduled_size == 0
puts "ok"
