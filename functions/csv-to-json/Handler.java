import flashd.Context;
import java.io.IOException;
import java.io.StringReader;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import org.apache.commons.csv.CSVFormat;
import org.apache.commons.csv.CSVParser;
import org.apache.commons.csv.CSVRecord;
import org.apache.commons.csv.DuplicateHeaderMode;

/**
 * POST CSV whose first line names its columns, get JSON: a list of objects. ?delimiter=; for others than the comma. With a library: jars beside this file and in lib are on the class path when
 * it is compiled, at its deployment, and when it runs. jars.txt names the one that lib needs, by its place in Maven Central and its checksum.
 *   printf 'name,city\n"Lovelace, Ada",London\n' | curl --data-binary @- -H 'content-type: text/csv' http://127.0.0.1:8080/function/csv-to-json
 */
public class Handler {
  private static final CSVFormat FORMAT = CSVFormat.RFC4180.builder().setHeader().setSkipHeaderRecord(true).setIgnoreEmptyLines(true)
      .setDuplicateHeaderMode(DuplicateHeaderMode.DISALLOW).build();

  public Object handle(Map<String, Object> event, Context context) throws IOException {
    if (!"POST".equals(((Map<?, ?>) ((Map<?, ?>) event.get("requestContext")).get("http")).get("method"))) return refused(405, "POST CSV");
    if (Boolean.TRUE.equals(event.get("isBase64Encoded"))) return refused(415, "send it as text: content-type: text/csv");
    Object delimiter = event.get("queryStringParameters") instanceof Map<?, ?> query ? query.get("delimiter") : null;
    try (CSVParser parser = (delimiter == null ? FORMAT : FORMAT.builder().setDelimiter(delimiter.toString()).build()).parse(new StringReader((String) event.getOrDefault("body", "")))) {
      List<Map<String, String>> rows = new ArrayList<>();
      for (CSVRecord row : parser) {
        if (!row.isConsistent()) return refused(422, "record " + row.getRecordNumber() + " has " + row.size() + " values for " + parser.getHeaderNames().size() + " columns");
        rows.add(row.toMap());
      }
      return rows;
    } catch (IOException | IllegalArgumentException | IllegalStateException error) {
      return refused(400, "not CSV: " + error.getMessage());
    }
  }

  private static Map<String, Object> refused(int status, String why) {
    return Map.of("statusCode", status, "body", Map.of("error", why));
  }
}
