import java.io.File;
import java.util.List;
import javax.tools.ToolProvider;

/** Compile CLASSPATH (FROM TO)…: the Handler.java of each directory into another one, as javac does it, but in one virtual machine for all. */
final class Compile {
  public static void main(String[] arguments) throws Exception {
    var compiler = ToolProvider.getSystemJavaCompiler();
    try (var files = compiler.getStandardFileManager(null, null, null)) {
      for (int at = 1; at < arguments.length; at += 2) {
        var options = List.of("-g", "-proc:none", "-cp", arguments[0], "-sourcepath", arguments[at], "-d", arguments[at + 1]);
        if (!compiler.getTask(null, files, null, options, null, files.getJavaFileObjects(new File(arguments[at], "Handler.java"))).call()) System.exit(1);
      }
    }
  }
}
