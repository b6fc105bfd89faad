import com.google.devtools.build.lib.worker.ProtoWorkerMessageProcessor;
import com.google.devtools.build.lib.worker.WorkRequestHandler;
import com.google.devtools.build.lib.worker.WorkRequestHandler.WorkRequestCallback;
import com.google.devtools.build.lib.worker.WorkRequestHandler.WorkRequestHandlerBuilder;
import com.google.devtools.build.lib.worker.WorkerProtocol.WorkRequest;
import java.io.IOException;
import java.io.PrintWriter;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.ConcurrentMap;

/** Bazel's WorkRequestHandler with the least callback that does what a job of ours does: a process, its output in a pipe. */
public final class ProcessWorker {
  private static final ConcurrentMap<Integer, CompletableFuture<Process>> STARTED = new ConcurrentHashMap<>();

  private ProcessWorker() {}

  /** Serves until the input ends. */
  public static void main(String[] unused) throws IOException {
    WorkRequestCallback callback = new WorkRequestCallback(ProcessWorker::run);
    ProtoWorkerMessageProcessor messages = new ProtoWorkerMessageProcessor(System.in, System.out);
    try (WorkRequestHandler handler =
        new WorkRequestHandlerBuilder(callback, System.err, messages)
            .setCancelCallback((id, thread) -> started(id).thenAccept(Process::destroyForcibly))
            .build()) {
      handler.processRequests();
    }
  }

  /** A cancel may come before its process is there. */
  private static CompletableFuture<Process> started(int id) {
    return STARTED.computeIfAbsent(id, unused -> new CompletableFuture<>());
  }

  private static int run(WorkRequest request, PrintWriter output) {
    List<String> words = request.getArgumentsList();
    List<String> command = words.subList(words.indexOf("--") + 1, words.size());
    try {
      Process process = new ProcessBuilder(command).redirectErrorStream(true).start();
      started(request.getRequestId()).complete(process);
      process.getOutputStream().close();
      output.print(new String(process.getInputStream().readAllBytes()));
      return process.waitFor();
    } catch (IOException | InterruptedException error) {
      output.println(error);
      return 1;
    } finally {
      STARTED.remove(request.getRequestId());
    }
  }
}
